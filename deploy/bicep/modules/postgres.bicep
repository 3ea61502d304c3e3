// MLflow's databases. Sign-in by Entra only; Azure keeps 35 days from which any second can be restored.
param location string
param name string
param administratorObjectId string
param administratorName string
param subnetId string
param zoneId string
param tags object

var isPrivate = !empty(subnetId)
var databases = ['mlflow', 'mlflow_auth', 'mlflow_dev', 'mlflow_dev_auth']

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard_D2ds_v5'
    tier: 'GeneralPurpose'
  }
  properties: {
    version: '16'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    storage: {
      storageSizeGB: 64
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 35
      geoRedundantBackup: 'Disabled'
    }
    network: isPrivate ? {
      delegatedSubnetResourceId: subnetId
      privateDnsZoneArmResourceId: zoneId
    } : {
      publicNetworkAccess: 'Enabled'
    }
  }
}

resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2024-08-01' = {
  parent: server
  name: administratorObjectId
  properties: {
    principalName: administratorName
    principalType: 'Group'
    tenantId: tenant().tenantId
  }
}

// Addresses of Azure, AKS' among them. With a network of its own the server has no public address at all.
resource azureServices 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (!isPrivate) {
  parent: server
  name: 'AllowAllAzureServices'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = [for one in databases: {
  parent: server
  name: one
  properties: {
    charset: 'UTF8'
  }
}]

output host string = server.properties.fullyQualifiedDomainName
