// AKS with its registry: sign-in by Entra, pods' identities by federation, ingress with TLS from the vault.
param location string
param prefix string
param logsId string
param operatorsObjectId string
param identityId string
param serverName string
param mlflowName string
param promoterName string
param subnetId string
param tags object

var roles = loadJsonContent('../roles.json')
var isPrivate = !empty(subnetId)

resource images 'Microsoft.ContainerRegistry/registries@2023-07-01' = {
  name: take('${prefix}aks${uniqueString(resourceGroup().id)}', 50)
  location: location
  tags: tags
  sku: {
    // Private endpoints are Premium's.
    name: isPrivate ? 'Premium' : 'Standard'
  }
  properties: {
    adminUserEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource cluster 'Microsoft.ContainerService/managedClusters@2024-09-01' = {
  name: '${prefix}-aks'
  location: location
  tags: tags
  sku: {
    name: 'Base'
    tier: 'Standard'
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    dnsPrefix: prefix
    disableLocalAccounts: true
    enableRBAC: true
    aadProfile: {
      managed: true
      enableAzureRBAC: true
    }
    oidcIssuerProfile: {
      enabled: true
    }
    securityProfile: {
      workloadIdentity: {
        enabled: true
      }
    }
    ingressProfile: {
      webAppRouting: {
        enabled: true
      }
    }
    apiServerAccessProfile: {
      enablePrivateCluster: isPrivate
    }
    autoUpgradeProfile: {
      upgradeChannel: 'patch'
      nodeOSUpgradeChannel: 'NodeImage'
    }
    addonProfiles: {
      azureKeyvaultSecretsProvider: {
        enabled: true
      }
      omsagent: {
        enabled: true
        config: {
          logAnalyticsWorkspaceResourceID: logsId
          useAADAuth: 'true'
        }
      }
    }
    networkProfile: {
      networkPlugin: 'azure'
      networkPluginMode: 'overlay'
      networkDataplane: 'cilium'
      networkPolicy: 'cilium'
    }
    agentPoolProfiles: [
      {
        name: 'system'
        mode: 'System'
        vmSize: 'Standard_D4ds_v5'
        osSKU: 'AzureLinux'
        enableAutoScaling: true
        minCount: 2
        maxCount: 6
        count: 2
        availabilityZones: ['1', '2', '3']
        vnetSubnetID: isPrivate ? subnetId : null
      }
    ]
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(images.id, cluster.id, 'AcrPull')
  scope: images
  properties: {
    principalId: cluster.properties.identityProfile.kubeletidentity.objectId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
  }
}

resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(cluster.id, operatorsObjectId, 'Azure Kubernetes Service RBAC Cluster Admin')
  scope: cluster
  properties: {
    principalId: operatorsObjectId
    principalType: 'Group'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Kubernetes Service RBAC Cluster Admin'])
  }
}

// A pod of this service account is that identity; nothing is stored.
resource server 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: serverName
}

resource serverPods 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = {
  parent: server
  name: 'aks'
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:manymodels:manymodels'
    audiences: ['api://AzureADTokenExchange']
  }
}

resource mlflow 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: mlflowName
}

resource mlflowPods 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = {
  parent: mlflow
  name: 'aks'
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:manymodels:mlflow'
    audiences: ['api://AzureADTokenExchange']
  }
}

// Jobs on AKS run as the identity that writes production.
resource promoter 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: promoterName
}

resource jobPods 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = {
  parent: promoter
  name: 'aks'
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:manymodels:manymodels-jobs'
    audiences: ['api://AzureADTokenExchange']
  }
}

// The development server's pods. Identities take one federated credential at a time.
resource mlflowDevPods 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = {
  parent: mlflow
  name: 'aks-dev'
  dependsOn: [mlflowPods]
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:manymodels:mlflow-dev'
    audiences: ['api://AzureADTokenExchange']
  }
}

output name string = cluster.name
output imagesId string = images.id
output imagesServer string = images.properties.loginServer
output ingressPrincipalId string = cluster.properties.ingressProfile.webAppRouting.identity.objectId
