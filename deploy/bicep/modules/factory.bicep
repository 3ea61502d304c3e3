// Data Factory; its pipelines are in deploy/datafactory.
param location string
param name string
param logsId string
param tags object

resource factory 'Microsoft.DataFactory/factories@2018-06-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    publicNetworkAccess: 'Enabled'
  }
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'runs'
  scope: factory
  properties: {
    workspaceId: logsId
    logs: [
      {
        category: 'PipelineRuns'
        enabled: true
      }
    ]
  }
}

output id string = factory.id
output name string = factory.name
output principalId string = factory.identity.principalId
